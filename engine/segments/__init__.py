"""Segments: clusters that have been given a profile, a name that their figures call for, and a stable id.

==============  ==================================================================================
``profile``     customers, shares, means, medians, and distance from the population, per cluster
``indicators``  figures about a segment relative to the population, for rules to speak of
``rules``       intervals over indicators, and the proof that they cover everything exactly once
``naming``      rule tables (presets or a user's YAML) and words that tell namesakes apart
``identity``    ids that come from what a segment is, not from its number
``segment``     all of it together: :func:`describe`
``model``       the fitted model: feature spec, centroids and segments, without customers
``division``    one run's division into segments, and what makes two hard to compare
``migration``   who went from which segment to which, and which segments match
``compare``     two runs side by side: :func:`compare_runs`
==============  ==================================================================================
"""
