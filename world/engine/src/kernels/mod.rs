//! The fast forms of the operators of `talkoo_exact`, bit for bit the same.
//!
//! Integer sums have no order, so lanes, tiles and threads cannot change a result. Every kernel here
//! is compared with the definition by the crate's property tests. The only `unsafe` code of the
//! project lives in this module: CPU intrinsics after run-time detection, and disjoint writes by
//! several threads into one output.

mod activations;
mod attention;
mod avx2;
mod cache;
mod encoder;
mod matmul;
mod numbers;
mod packed;
mod pool;
mod product;
mod vectors;
mod vnni;

pub(crate) use activations::{ActivationRow, Activations};
pub(crate) use attention::{Scratch, attend};
pub(crate) use cache::HeadCache;
pub(crate) use encoder::{add_bias, gelu, layer_norm};
pub(crate) use matmul::multiply;
pub(crate) use numbers::{Mapped, Number, Numbers};
pub(crate) use packed::{Packed, PackedPart};
pub(crate) use pool::Pool;
pub(crate) use vectors::{add, argmax, gate_times, quantize, quantize_head, rms_norm, rotate};

/// Which instructions to use. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Kernel {
    /// The fastest this machine has.
    #[default]
    Auto,
    /// Portable code.
    Scalar,
    /// AVX2; portable code where it is missing.
    Avx2,
    /// AVX-512 with VNNI; the next best where it is missing.
    Vnni,
}

/// Instructions that this machine has been found to have; only [`Isa::detect`] makes the fast ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Isa {
    level: Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Scalar,
    Avx2,
    Vnni,
}

impl Isa {
    /// The best level that is at most `kernel` and that this machine has.
    pub(crate) fn detect(kernel: Kernel) -> Self {
        let best = Self::best();
        let wanted = match kernel {
            Kernel::Scalar => Level::Scalar,
            Kernel::Avx2 => Level::Avx2,
            Kernel::Auto | Kernel::Vnni => Level::Vnni,
        };
        let level = match (wanted, best) {
            (Level::Vnni, best) => best,
            (Level::Avx2, Level::Vnni | Level::Avx2) => Level::Avx2,
            _ => Level::Scalar,
        };
        Self { level }
    }

    #[cfg(target_arch = "x86_64")]
    fn best() -> Level {
        let wide = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512cd")
            && is_x86_feature_detected!("avx512vnni");
        if wide {
            Level::Vnni
        } else if is_x86_feature_detected!("avx2") {
            Level::Avx2
        } else {
            Level::Scalar
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn best() -> Level {
        Level::Scalar
    }

    /// Name for people.
    pub(crate) fn name(self) -> &'static str {
        match self.level {
            Level::Scalar => "scalar",
            Level::Avx2 => "avx2",
            Level::Vnni => "avx512-vnni",
        }
    }
}

/// Name of the instructions that an engine takes on this machine: `scalar`, `avx2` or `avx512-vnni`.
#[must_use]
pub fn best_name() -> &'static str {
    Isa::detect(Kernel::Auto).name()
}

/// Compiles one safe function three times, for each level, and calls the one that fits.
macro_rules! for_each_level {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $kind:ty),*) $(-> $ret:ty)? = $body:path) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        pub(crate) fn $name(isa: $crate::kernels::Isa, $($arg: $kind),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vnni")]
            fn wide($($arg: $kind),*) $(-> $ret)? { $body($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
            fn middle($($arg: $kind),*) $(-> $ret)? { $body($($arg),*) }
            match isa.level {
                // SAFETY: only `Isa::detect` makes these levels, after asking the CPU.
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::Level::Vnni => unsafe { wide($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::Level::Avx2 => unsafe { middle($($arg),*) },
                _ => $body($($arg),*),
            }
        }
    };
}
pub(crate) use for_each_level;

#[cfg(test)]
mod tests;
