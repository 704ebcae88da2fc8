"""One request's way through the script, whatever transport it came by."""
