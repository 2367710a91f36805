//! From the request of the host to a problem of numbers.

use incubate_plugin::{Cost, Fault, Request};

use crate::division::{Device, Item, Problem};

/// What the load of a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    Parameters,
    Macs,
    Time,
}

impl Measure {
    pub(crate) fn from_name(name: &str) -> Result<Self, Fault> {
        match name {
            "parameters" => Ok(Self::Parameters),
            "macs" => Ok(Self::Macs),
            "time" => Ok(Self::Time),
            other => Err(Fault::invalid(format!("`by` is `{other}`"))
                .with_hint("write `parameters`, `macs`, or `time`")),
        }
    }

    fn load(self, cost: &Cost) -> Result<f64, Fault> {
        match self {
            Self::Parameters => Ok(cost.parameters as f64),
            Self::Macs => Ok(cost.forward_macs as f64),
            Self::Time => match cost.milliseconds {
                Some(time) if time.is_finite() && time >= 0.0 => Ok(time),
                Some(time) => Err(Fault::invalid(format!(
                    "the time of `{}` is {time} milliseconds",
                    cost.name
                ))),
                None => Err(Fault::invalid(format!(
                    "`by` is `time`, and the time of `{}` was not measured",
                    cost.name
                ))
                .with_hint("measure the blocks first, or set `by` to `macs` or `parameters`")),
            },
        }
    }
}

/// The problem that `request` poses when loads are measured `by`.
pub(crate) fn problem(by: Measure, request: &Request) -> Result<Problem, Fault> {
    let item = |cost: &Cost| -> Result<Item, Fault> {
        let state = cost
            .parameters
            .saturating_mul(u64::from(request.bytes_per_parameter));
        Ok(Item {
            load: by.load(cost)?,
            bytes: state.saturating_add(cost.activation_bytes),
        })
    };
    let modules = request.modules as usize;
    let devices = if request.devices.is_empty() {
        vec![
            Device {
                cap: None,
                speed: 1.0
            };
            modules
        ]
    } else {
        request
            .devices
            .iter()
            .map(|device| Device {
                cap: device.memory_bytes,
                speed: device.speed,
            })
            .collect()
    };
    if devices.len() != modules {
        return Err(Fault::invalid(format!(
            "{} devices were given for {modules} modules",
            devices.len()
        ))
        .with_hint("list one device for every module, or none"));
    }
    for (index, device) in devices.iter().enumerate() {
        if !device.speed.is_finite() || device.speed <= 0.0 {
            return Err(
                Fault::invalid(format!("the speed of device {index} is {}", device.speed))
                    .with_hint("give a number that is more than 0; 1 is the reference"),
            );
        }
    }
    Ok(Problem {
        entry: item(&request.entry)?,
        blocks: request.blocks.iter().map(item).collect::<Result<_, _>>()?,
        exit: item(&request.exit)?,
        devices,
    })
}

#[cfg(test)]
mod tests {
    use incubate_plugin::Device as RequestDevice;

    use super::*;

    fn cost(name: &str, milliseconds: Option<f64>) -> Cost {
        Cost {
            name: name.to_owned(),
            parameters: 10,
            forward_macs: 100,
            activation_bytes: 7,
            milliseconds,
        }
    }

    fn request() -> Request {
        Request {
            entry: cost("entry", Some(1.0)),
            blocks: vec![cost("blocks.0", Some(2.0)), cost("blocks.1", None)],
            exit: cost("exit", Some(1.0)),
            modules: 2,
            devices: Vec::new(),
            bytes_per_parameter: 16,
        }
    }

    #[test]
    fn loads_and_bytes_come_from_the_costs() {
        let by_parameters = problem(Measure::Parameters, &request()).unwrap();
        assert_eq!(by_parameters.blocks[0].load, 10.0);
        assert_eq!(by_parameters.blocks[0].bytes, 167);
        let by_macs = problem(Measure::Macs, &request()).unwrap();
        assert_eq!(by_macs.entry.load, 100.0);
    }

    #[test]
    fn a_missing_time_is_named_with_a_way_out() {
        let fault = problem(Measure::Time, &request()).unwrap_err();
        assert_eq!(
            fault.message,
            "`by` is `time`, and the time of `blocks.1` was not measured"
        );
        assert!(fault.hint.unwrap().contains("`macs`"));
    }

    #[test]
    fn devices_must_fit_the_modules_and_move() {
        let device = |speed| RequestDevice {
            memory_bytes: None,
            speed,
        };
        let with = |devices| {
            let request = Request {
                devices,
                ..request()
            };
            problem(Measure::Macs, &request).map(|_| ())
        };
        assert!(with(vec![device(1.0), device(2.0)]).is_ok());
        assert_eq!(
            with(vec![device(1.0)]).unwrap_err().message,
            "1 devices were given for 2 modules"
        );
        assert_eq!(
            with(vec![device(1.0), device(0.0)]).unwrap_err().message,
            "the speed of device 1 is 0"
        );
    }
}
