"""The cases: data, contestants, judge. ``benchmarks.case.CASES`` names them."""
