"""The image database: images as files, directories, names."""
