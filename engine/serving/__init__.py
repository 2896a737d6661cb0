"""A bundle over HTTP: classification for machines, pages for people, and everything around them that keeps both safe.

``state`` holds the model that is served and takes in a newer one; ``access`` knows who asks; ``machine`` stands before
every request (host, size, rate, headers, log); ``classify``, ``batch`` and ``reading`` answer; ``app`` puts them
together and ``server`` runs them in one process or several.
"""
