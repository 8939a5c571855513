"""The subcommands, by what they are about; each parses, calls the library and prints."""
