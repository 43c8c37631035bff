"""Every rule, one family to a file. In reading order: gradient, schedules, line_search, polyak, sps, alig,
hypergradient, newton, trainable_rate, secant, adasecant, barzilai_borwein, diagonal, adam, switch, authors.
"""
