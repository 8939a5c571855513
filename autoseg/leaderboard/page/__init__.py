"""The leaderboard as one offline page."""
