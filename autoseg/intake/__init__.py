"""What comes in: foreign layouts into the raw layout, one file each; findings about a raw data set."""
