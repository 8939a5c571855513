"""What is wrong with a data set: findings with file and remedy, and their page."""
