"""Commands as the command line declares them: names, options and help; what they do is said beside this room."""
