//! Learning-rate schedule `poly`: polynomial decay from the base rate to `end_rate`.

use incubate_plugin::{Description, Fault, Moment, Parameter, Schedule, Settings, export_schedule};

struct Poly {
    power: f64,
    end_rate: f64,
}

impl Schedule for Poly {
    fn describe() -> Description {
        Description::new("Polynomial decay from the base rate to the end rate")
            .parameter(
                Parameter::number("power", "Exponent of the share of epochs that is left")
                    .default(1.0)
                    .at_least(0.0),
            )
            .parameter(
                Parameter::number("end_rate", "Rate at the end, not scaled with the batch")
                    .default(0.0)
                    .at_least(0.0),
            )
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            power: settings.get("power")?,
            end_rate: settings.get("end_rate")?,
        })
    }

    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
        let left = 1.0 - moment.epoch / f64::from(moment.epochs);
        Ok(self.end_rate + (moment.base_rate - self.end_rate) * left.powf(self.power))
    }
}

export_schedule!(Poly);

#[cfg(test)]
mod tests {
    use incubate_plugin::testing;

    use super::*;

    #[test]
    fn the_rate_falls_along_the_power_to_the_end_rate() {
        let mut poly = Poly {
            power: 2.0,
            end_rate: 0.1,
        };
        let rates = testing::rates(&mut poly, 10, 4, 1.1).unwrap();
        for (rate, expected) in rates.iter().zip([1.1, 0.6625, 0.35, 0.1625]) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
    }

    #[test]
    fn it_remembers_nothing() {
        let settings = testing::settings(&Poly::describe(), &[]).unwrap();
        let mut poly = Poly::configure(&settings).unwrap();
        assert!(poly.save().is_empty());
        assert!(poly.restore(&[]).is_ok());
        assert!(poly.restore(&[1]).is_err());
    }
}
