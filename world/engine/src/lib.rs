//! Model files, tokenizers, fast kernels that equal the definition bit for bit.
