//! How ggml stores each block format: codes, scales and minimums of one group.

use super::Format;

/// A finite f16 bit pattern in units of 2^-24, the smallest subnormal: exact, below 2^41.
pub(super) fn half(bytes: &[u8], at: usize) -> Option<i64> {
    let bits = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let (exponent, fraction) = (bits >> 10 & 31, i64::from(bits & 1023));
    let magnitude = match exponent {
        31 => return None,
        0 => fraction,
        e => (1024 + fraction) << (e - 1),
    };
    Some(if bits >> 15 == 1 { -magnitude } else { magnitude })
}

/// Reads one group: writes its codes, appends its scales and minimums (units of 2^-24).
/// `None` if a scale is not finite.
pub(super) fn read_group(
    format: Format,
    group: &[u8],
    codes: &mut [u8],
    scales: &mut Vec<i64>,
    minimums: &mut Vec<i64>,
) -> Option<()> {
    match format {
        Format::Q4_0 => {
            scales.push(half(group, 0)?);
            nibbles(&group[2..], codes);
        }
        Format::Q4_1 => {
            scales.push(half(group, 0)?);
            minimums.push(half(group, 2)?);
            nibbles(&group[4..], codes);
        }
        Format::Q5_0 => {
            scales.push(half(group, 0)?);
            nibbles(&group[6..], codes);
            fifth_bits(&group[2..6], codes);
        }
        Format::Q5_1 => {
            scales.push(half(group, 0)?);
            minimums.push(half(group, 2)?);
            nibbles(&group[8..], codes);
            fifth_bits(&group[4..8], codes);
        }
        Format::Q8_0 => {
            scales.push(half(group, 0)?);
            for (code, byte) in codes.iter_mut().zip(&group[2..]) {
                *code = byte ^ 0x80;
            }
        }
        Format::Q4K => {
            k_scales(group, scales, minimums)?;
            k_nibbles(&group[16..], codes);
        }
        Format::Q5K => {
            k_scales(group, scales, minimums)?;
            k_nibbles(&group[48..], codes);
            for (block, codes) in codes.chunks_exact_mut(32).enumerate() {
                for (code, high) in codes.iter_mut().zip(&group[16..48]) {
                    *code |= (high >> block & 1) << 4;
                }
            }
        }
        Format::Q6K => q6k(group, codes, scales)?,
        Format::F32 | Format::F16 | Format::BF16 => unreachable!("formats without blocks have a reader of their own"),
    }
    Some(())
}

/// 16 bytes: the low nibbles are the first half of the block, the high ones the second.
fn nibbles(bytes: &[u8], codes: &mut [u8]) {
    let (low, high) = codes.split_at_mut(16);
    for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
        *low = byte & 15;
        *high = byte >> 4;
    }
}

/// 32 bits, one per code, that become bit 4.
fn fifth_bits(bytes: &[u8], codes: &mut [u8]) {
    for (i, code) in codes.iter_mut().enumerate() {
        *code |= (bytes[i / 8] >> (i % 8) & 1) << 4;
    }
}

/// 128 bytes: every 32 hold the low nibbles of one block and the high nibbles of the next.
fn k_nibbles(bytes: &[u8], codes: &mut [u8]) {
    for (bytes, codes) in bytes.chunks_exact(32).zip(codes.chunks_exact_mut(64)) {
        let (low, high) = codes.split_at_mut(32);
        for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
            *low = byte & 15;
            *high = byte >> 4;
        }
    }
}

/// The two f16 factors and the twelve bytes of 6-bit scales and minimums of Q4_K and Q5_K.
fn k_scales(group: &[u8], scales: &mut Vec<i64>, minimums: &mut Vec<i64>) -> Option<()> {
    let (scale, minimum, packed) = (half(group, 0)?, half(group, 2)?, &group[4..16]);
    for j in 0..8 {
        let (s, m) = if j < 4 {
            (packed[j] & 63, packed[j + 4] & 63)
        } else {
            (packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4)
        };
        scales.push(scale * i64::from(s));
        minimums.push(-minimum * i64::from(m));
    }
    Some(())
}

/// Low nibbles (128 bytes), high bit pairs (64), signed scales (16), one f16 factor.
fn q6k(group: &[u8], codes: &mut [u8], scales: &mut Vec<i64>) -> Option<()> {
    let factor = half(group, 208)?;
    scales.extend(group[192..208].iter().map(|s| factor * i64::from(*s as i8)));
    for (n, codes) in codes.chunks_exact_mut(128).enumerate() {
        let (low, high) = (&group[n * 64..][..64], &group[128 + n * 32..][..32]);
        for l in 0..32 {
            codes[l] = low[l] & 15 | (high[l] & 3) << 4;
            codes[l + 32] = low[l + 32] & 15 | (high[l] >> 2 & 3) << 4;
            codes[l + 64] = low[l] >> 4 | (high[l] >> 4 & 3) << 4;
            codes[l + 96] = low[l + 32] >> 4 | (high[l] >> 6) << 4;
        }
    }
    Some(())
}
