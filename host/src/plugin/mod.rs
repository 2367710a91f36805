//! Strategy plugins: loading, checking, and calling WebAssembly components.
