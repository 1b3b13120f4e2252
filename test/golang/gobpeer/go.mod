module imageserver.test/gobpeer

go 1.21
