"""The one data flow: from a model and a goal to a verified artifact with its report."""
