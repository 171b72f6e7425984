"""The page on which a person tries a reader, and its HTTP interface; needs the extra `serve`."""
