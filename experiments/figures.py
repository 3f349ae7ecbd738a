"""The pictures a run leaves in its workdir."""
