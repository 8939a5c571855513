"""Models that stay loaded: a drop folder and HTTP on loopback, one job after the other."""
