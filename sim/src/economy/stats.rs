//! Means with their error, over independent neighbourhoods. Only +, −, ×, ÷ and √: the same digits on every machine.

/// A mean and its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error.
    pub error: f64,
}

impl Estimate {
    /// Of independent samples, of which there are two at least.
    #[must_use]
    pub fn of(samples: &[f64]) -> Self {
        let count = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / count;
        let squares: f64 = samples.iter().map(|s| (s - mean) * (s - mean)).sum();
        Self { mean, error: (squares / (count - 1.0) / count).sqrt() }
    }

    /// Half of the 95 % interval.
    #[must_use]
    pub fn half_width(&self) -> f64 {
        1.96 * self.error
    }

    /// Σ of the first parts over Σ of the second, with the error of a ratio (Cochran, Sampling Techniques, §6.4).
    #[must_use]
    pub fn ratio(samples: &[(f64, f64)]) -> Self {
        let count = samples.len() as f64;
        let below: f64 = samples.iter().map(|(_, b)| b).sum();
        let mean = samples.iter().map(|(a, _)| a).sum::<f64>() / below;
        let squares: f64 = samples.iter().map(|(a, b)| (a - mean * b) * (a - mean * b)).sum();
        Self { mean, error: (squares * count / (count - 1.0)).sqrt() / below }
    }

    /// In words: below zero by three standard errors, exactly zero, above, never tried, or not to be told.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match self {
            Self { mean, error } if *mean == 0.0 && *error == 0.0 => "nothing gained",
            Self { mean, error } if mean + 3.0 * error < 0.0 => "loses",
            Self { mean, error } if mean - 3.0 * error > 0.0 => "**PAYS**",
            Self { mean, .. } if mean.is_nan() => "no lies, play more jobs",
            _ => "**not shown**",
        }
    }
}
