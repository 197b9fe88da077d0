"""netkit's speed beside its peers and a C floor, interleaved, one file per claim: `python -m benchmarks`."""
