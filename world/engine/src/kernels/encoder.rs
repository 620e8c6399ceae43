//! What encoders do between their products: the definition's own code, compiled for each instruction set.

use super::for_each_level;
use talkoo_exact::RangeError;
use talkoo_exact::gelu::gelu as gelu_of;

for_each_level! {
    /// y += bias, for every row of `y`.
    add_bias(y: &mut [i64], bias: &[i32]) = add_bias_body
}
for_each_level! {
    /// Rule 14 of y + bias, in place, for every row of `y`. A loop, not a closure: only so it is compiled for the level.
    gelu(y: &mut [i64], bias: &[i32]) = gelu_body
}
for_each_level! {
    /// Rule 13, in place.
    layer_norm(x: &mut [i64], norm: [&[i32]; 2], epsilon: u64, memory: [&mut [i64]; 2]) -> Result<(), RangeError>
        = talkoo_exact::layernorm::layer_norm
}

#[inline(always)]
fn add_bias_body(y: &mut [i64], bias: &[i32]) {
    for row in y.chunks_exact_mut(bias.len()) {
        for (y, b) in row.iter_mut().zip(bias) {
            *y += i64::from(*b);
        }
    }
}

#[inline(always)]
fn gelu_body(y: &mut [i64], bias: &[i32]) {
    for row in y.chunks_exact_mut(bias.len()) {
        for (y, b) in row.iter_mut().zip(bias) {
            *y = gelu_of(*y + i64::from(*b));
        }
    }
}
