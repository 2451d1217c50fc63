"""What users do with rollouts: roll back, pause, resume, promote, abort, look at the status."""
