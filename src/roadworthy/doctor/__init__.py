"""What is there, what is missing, and the command that fixes it: on a laptop and on a cluster."""
