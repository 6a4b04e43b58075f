"""The measurements: how long imagen takes, against Python itself and against its peers."""
