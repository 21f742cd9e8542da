"""What people are shown: tables on a terminal, pages to look at."""
