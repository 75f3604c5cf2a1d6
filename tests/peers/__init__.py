"""Other people's packages measured beside ours: `nox -s peers`.

Each `peer_*.py` runs alone, in an environment that has its peer and not aegis, and prints one JSON line a run; the
other modules run where aegis is installed. None of them is a test.
"""
