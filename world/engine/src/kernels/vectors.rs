//! Norm, quantiser, rotation and activations over whole vectors: the definition's own code or an integer
//! rewriting of it that fits 64-bit lanes, compiled for each instruction set.

use super::{Isa, for_each_level};
use talkoo_exact::arith::{bit_length, max_abs, rsh};
use talkoo_exact::exp::{self, exp_neg_abs, gelu_argument};
use talkoo_exact::limits::HEAD_DIM_MAX;
use talkoo_exact::rope::for_each_pair;
use talkoo_exact::{Activation, CachedHead, KvFormat, RangeError, Rotation};

for_each_level! {
    /// Rule 2 into given memory; returns the exponent.
    quantize(v: &[i64], fraction_bits: i32, codes: &mut [i8], mantissas: &mut [u16]) -> i32
        = talkoo_exact::quantize::quantize_into
}
for_each_level! {
    /// Its fine codes.
    quantize_fine(v: &[i64], codes: &mut [i16], mantissas: &mut [u16]) -> i32 = quantize_fine_body
}
for_each_level! {
    /// Rule 5.
    rms_norm(x: &[i64], gains: &[i32], epsilon: u64, out: &mut [i64]) = talkoo_exact::norm::rms_norm
}
for_each_level! {
    /// Rule 6 on one head, in place.
    rotate(head: &mut [i64], table: &[(i64, i64)], rotation: Rotation) = rotate_body
}
for_each_level! {
    /// Rule 9: SiLU(gate) * up, in place of the gate.
    silu_times(gate: &mut [i64], up: &[i64]) -> Result<(), RangeError> = silu_times_body
}
for_each_level! {
    /// Rule 9: GELU(gate) * up, in place of the gate.
    gelu_times(gate: &mut [i64], up: &[i64]) -> Result<(), RangeError> = gelu_times_body
}
for_each_level! {
    /// x += y.
    add(x: &mut [i64], y: &[i64]) = add_body
}
for_each_level! {
    /// The index of the largest number, the lowest of equals.
    argmax(v: &[i64]) -> u32 = argmax_body
}

/// Rule 8's form of a key or value (Q16), into given memory.
pub(crate) fn quantize_head(isa: Isa, v: &[i64], format: KvFormat, to: &mut CachedHead) {
    let mut bytes = [0i8; HEAD_DIM_MAX];
    let bytes = &mut bytes[..v.len()];
    to.exponent = match format {
        KvFormat::Int16 => quantize_fine(isa, v, &mut to.codes, &mut to.mantissas),
        KvFormat::Int8 => quantize(isa, v, 16, bytes, &mut to.mantissas),
    };
    if format == KvFormat::Int8 {
        to.codes.iter_mut().zip(bytes).for_each(|(code, byte)| *code = i16::from(*byte));
    }
}

#[inline(always)]
fn quantize_fine_body(v: &[i64], codes: &mut [i16], mantissas: &mut [u16]) -> i32 {
    talkoo_exact::quantize::quantize_fine_into(v, 16, codes, mantissas)
}

#[inline(always)]
fn add_body(x: &mut [i64], y: &[i64]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

#[inline(always)]
fn argmax_body(v: &[i64]) -> u32 {
    let largest = v.iter().copied().fold(i64::MIN, i64::max);
    v.iter().position(|x| *x == largest).unwrap_or(0) as u32
}

/// Numbers below 2^31 times Q30 stay below 2^62, so 64 bits do.
#[inline(always)]
fn rotate_body(head: &mut [i64], table: &[(i64, i64)], rotation: Rotation) {
    if max_abs(head) >> 31 != 0 {
        talkoo_exact::rope::rotate(head, table, rotation);
        return;
    }
    for_each_pair(head, table, rotation, |u, w, sine, cosine| {
        (*u, *w) = (rsh(*u * cosine - *w * sine, 30), rsh(*u * sine + *w * cosine, 30));
    });
}

/// activation(gate) * up, in place of the gate.
pub(crate) fn gate_times(isa: Isa, activation: Activation, gate: &mut [i64], up: &[i64]) -> Result<(), RangeError> {
    match activation {
        Activation::Silu => silu_times(isa, gate, up),
        Activation::GeluTanh => gelu_times(isa, gate, up),
    }
}

#[inline(always)]
fn silu_times_body(gate: &mut [i64], up: &[i64]) -> Result<(), RangeError> {
    gate_times_body(Activation::Silu, gate, up, |g| g)
}

#[inline(always)]
fn gelu_times_body(gate: &mut [i64], up: &[i64]) -> Result<(), RangeError> {
    gate_times_body(Activation::GeluTanh, gate, up, gelu_argument)
}

/// `argument`: what the activation takes the logistic function of.
#[inline(always)]
fn gate_times_body(
    activation: Activation,
    gate: &mut [i64],
    up: &[i64],
    argument: impl Fn(i64) -> i64,
) -> Result<(), RangeError> {
    let (gate_bits, up_bits) = (bit_length(max_abs(gate)), bit_length(max_abs(up)));
    // gate * sigmoid < 2^61, and the activation (Q24) * up < 2^62: no wider product is needed.
    if gate_bits > 31 || gate_bits + up_bits > 53 {
        for (g, u) in gate.iter_mut().zip(up) {
            *g = exp::gate_times(activation, *g, *u)?;
        }
        return Ok(());
    }
    for (g, u) in gate.iter_mut().zip(up) {
        let activated = rsh(*g * sigmoid(argument(*g)), 22);
        *g = rsh(activated * u, 20);
    }
    Ok(())
}

/// The definition's sigmoid without a division: with d = 2^30 + e, floor(e * 2^30 / d) is
/// 2^30 - ceil(2^60 / d), and floor(2^60 / d) comes from Newton's iteration and a correction.
#[inline(always)]
fn sigmoid(g: i64) -> i64 {
    let d = (1 << 30) + exp_neg_abs(g);
    let (quotient, rest) = divide_2_60(d);
    if g >= 0 { quotient } else { (1 << 30) - quotient - i64::from(rest != 0) }
}

/// floor(2^60 / d) and the remainder, for d in 2^30..=2^31.
#[inline(always)]
pub(super) fn divide_2_60(d: i64) -> (i64, i64) {
    // 2^29 * (48/17 - 32/17 * d/2^31) is within 1/17; each step squares the relative error.
    let mut q = 1_515_870_810 - ((d * 1_010_580_540) >> 31);
    for _ in 0..3 {
        let error = ((1 << 60) - d * q) >> 30;
        q += (q * error) >> 30;
    }
    let mut rest = (1 << 60) - d * q;
    for _ in 0..2 {
        // All ones if there is something to take back.
        let over = rest >> 63;
        (q, rest) = (q + over, rest + (d & over));
    }
    for _ in 0..2 {
        let under = (d - 1 - rest) >> 63;
        (q, rest) = (q - under, rest - (d & under));
    }
    (q, rest)
}
