//! From `--device` to a device.

use anyhow::{Context, Result, bail};
use candle_core::Device;

use crate::cli::DeviceChoice;

/// Opens the device; its name is what `--device` would call it.
pub fn open(choice: DeviceChoice) -> Result<(Device, String)> {
    match choice {
        DeviceChoice::Cpu => Ok((Device::Cpu, "cpu".to_owned())),
        DeviceChoice::Cuda(_) if !cfg!(feature = "cuda") => {
            bail!(
                "this program was built without CUDA: build it with `--features cuda`, or take `--device cpu`"
            )
        }
        DeviceChoice::Metal if !cfg!(feature = "metal") => {
            bail!(
                "this program was built without Metal: build it with `--features metal`, or take `--device cpu`"
            )
        }
        DeviceChoice::Cuda(number) => {
            let device = Device::new_cuda(number)
                .with_context(|| format!("cannot open the GPU cuda:{number}"))?;
            Ok((device, format!("cuda:{number}")))
        }
        DeviceChoice::Metal => {
            let device = Device::new_metal(0).context("cannot open the GPU through Metal")?;
            Ok((device, "metal".to_owned()))
        }
        DeviceChoice::Auto => [DeviceChoice::Cuda(0), DeviceChoice::Metal]
            .into_iter()
            .find_map(|choice| open(choice).ok())
            .map_or_else(|| open(DeviceChoice::Cpu), Ok),
    }
}
