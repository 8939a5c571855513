"""Results that were made elsewhere: tables, summaries, folders of predictions."""
