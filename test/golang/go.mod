module imageserver.test

go 1.21
