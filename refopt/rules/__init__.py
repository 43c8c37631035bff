"""Every rule, one family to a file. In reading order: gradient, schedules, polyak, sps, alig, authors."""
