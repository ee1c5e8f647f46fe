//! The index engine: transforms, quantizers, ADC scan kernels, segments and search.
