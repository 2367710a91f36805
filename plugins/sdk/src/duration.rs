//! Lengths of time with their unit: epochs, updates, or a share of the phase.

use crate::{Fault, FromSetting, Parameter, SettingValue};

/// A length of time as a person writes it: `20` and `20ep` are epochs, `500up` are updates, and `5%`
/// is a share of the phase. It is finite and not negative.
///
/// ```
/// use incubate_plugin::{Description, Duration, Parameter, testing};
///
/// let description = Description::new("A schedule")
///     .parameter(Parameter::duration("warmup", "Length of the warm-up").default("0"));
/// let settings = testing::settings(&description, &[("warmup", "500up".into())]).unwrap();
/// assert_eq!(settings.get("warmup"), Ok(Duration::Updates(500.0)));
/// let settings = testing::settings(&description, &[("warmup", 20.into())]).unwrap();
/// assert_eq!(settings.get("warmup"), Ok(Duration::Epochs(20.0)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Duration {
    /// Epochs.
    Epochs(f64),
    /// Updates.
    Updates(f64),
    /// Hundredths of the phase.
    Percent(f64),
}

/// What is shown of a text that is no duration.
const SHOWN: usize = 40;

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self::Epochs(0.0);

    /// Reads a duration; `name` is the parameter that it belongs to.
    ///
    /// # Errors
    ///
    /// The text is no number with `ep`, `up`, `%`, or nothing behind it, or the number is negative or
    /// not finite.
    pub fn parse(name: &str, text: &str) -> Result<Self, Fault> {
        let trimmed = text.trim();
        let (number, of): (&str, fn(f64) -> Self) = if let Some(number) = trimmed.strip_suffix("ep")
        {
            (number, Self::Epochs)
        } else if let Some(number) = trimmed.strip_suffix("up") {
            (number, Self::Updates)
        } else if let Some(number) = trimmed.strip_suffix('%') {
            (number, Self::Percent)
        } else {
            (trimmed, Self::Epochs)
        };
        let number: Option<f64> = number.trim_end().parse().ok();
        number
            .map(of)
            .filter(|duration| duration.number().is_finite() && duration.number() >= 0.0)
            .ok_or_else(|| {
                let mut shown: String = text.chars().take(SHOWN).collect();
                if shown.len() < text.len() {
                    shown.push('…');
                }
                Fault::invalid(format!("`{name}` is `{shown}`, which is no duration")).with_hint(
                    "write epochs as 20 or `20ep`, updates as `500up`, a share of the phase as `5%`",
                )
            })
    }

    /// Whether this is no time at all.
    pub const fn is_zero(self) -> bool {
        self.number() == 0.0
    }

    /// The same duration, if it is more than zero.
    ///
    /// # Errors
    ///
    /// It is zero; `name` is the parameter that it belongs to.
    pub fn positive(self, name: &str) -> Result<Self, Fault> {
        if self.is_zero() {
            return Err(Fault::invalid(format!("`{name}` is 0"))
                .with_hint("give a duration that is more than 0"));
        }
        Ok(self)
    }

    const fn number(self) -> f64 {
        match self {
            Self::Epochs(number) | Self::Updates(number) | Self::Percent(number) => number,
        }
    }
}

impl Parameter {
    /// A text that is read as a [`Duration`]; a bare number in the experiment file is taken, too.
    pub fn duration(name: &str, summary: &str) -> Self {
        Self::text(
            name,
            &format!("{summary}: epochs, or updates as `500up`, or a share of the phase as `5%`"),
        )
    }

    /// Several texts that are read as durations.
    pub fn durations(name: &str, summary: &str) -> Self {
        Self::texts(
            name,
            &format!("{summary}: epochs, or updates as `500up`, or shares of the phase as `5%`"),
        )
    }
}

impl<'a> FromSetting<'a> for Duration {
    fn from_setting(name: &str, value: Option<&'a SettingValue>) -> Result<Self, Fault> {
        Self::parse(name, <&str>::from_setting(name, value)?)
    }
}

impl<'a> FromSetting<'a> for Vec<Duration> {
    fn from_setting(name: &str, value: Option<&'a SettingValue>) -> Result<Self, Fault> {
        <Vec<&str>>::from_setting(name, value)?
            .into_iter()
            .map(|text| Duration::parse(name, text))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        let read = |text| Duration::parse("warmup", text).unwrap();
        assert_eq!(read("20"), Duration::Epochs(20.0));
        assert_eq!(read("2.5ep"), Duration::Epochs(2.5));
        assert_eq!(read(" 500 up "), Duration::Updates(500.0));
        assert_eq!(read("1e3up"), Duration::Updates(1000.0));
        assert_eq!(read("12.5%"), Duration::Percent(12.5));
        assert!(read("0%").is_zero());
    }

    #[test]
    fn everything_else_is_refused_by_name_and_in_short() {
        for text in [
            "", "ep", "%", "five", "5 weeks", "-1", "-1up", "inf", "NaN%", "1e400", "5%%", "5upup",
        ] {
            let fault = Duration::parse("warmup", text).unwrap_err();
            assert!(fault.message.contains("`warmup`"), "{text}: {fault:?}");
        }
        let fault = Duration::parse("warmup", &"ä".repeat(5000)).unwrap_err();
        assert!(fault.message.chars().count() < 80, "{fault:?}");
        assert!(Duration::Percent(0.0).positive("every").is_err());
    }
}
