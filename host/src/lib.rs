//! Trains large neural networks by divide and conquer: Deep Incubation (Ni et al., ICCV 2023).
