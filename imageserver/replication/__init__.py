"""Following a master: nothing here yet."""
