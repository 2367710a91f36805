//! The network: stages, hybrids, costs, and weights.
