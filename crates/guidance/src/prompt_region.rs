//! The region of a prompt.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use frozen::resize_to_fill;
use phantasia_core::{Prompt, Region, picture};

use crate::context::TermContext;
use crate::region_mask::RegionMask;

/// The region of a prompt, with its image read.
#[derive(Clone, Debug)]
pub(crate) struct PromptRegion {
    region: Region,
    image: Option<Arc<RegionImage>>,
}

/// Of the same region.
impl PartialEq for PromptRegion {
    fn eq(&self, other: &Self) -> bool {
        self.region == other.region
    }
}

/// The grey values of a region's image, `[1, 1, height, width]`.
#[derive(Debug)]
struct RegionImage(Tensor);

impl PromptRegion {
    /// The region of a prompt, if it has one.
    ///
    /// # Errors
    /// As [`PromptRegion::new`].
    pub fn of(prompt: &Prompt, context: &mut TermContext) -> Result<Option<Self>> {
        let region = prompt.region.as_ref();
        (region.map(|region| Self::new(region, context))).transpose()
    }

    /// Reads the region's image, if it is one.
    ///
    /// # Errors
    /// When the image cannot be read, or is black or transparent everywhere.
    pub fn new(region: &Region, context: &mut TermContext) -> Result<Self> {
        let image = match region {
            Region::Named(_) | Region::Rectangle(_) => None,
            Region::Image(path) => {
                let name = path.display().to_string();
                Some(context.model(&name, |context| RegionImage::load(path, &context.device))?)
            }
        };
        let region = region.clone();
        Ok(Self { region, image })
    }

    /// Its mask of a picture of that size.
    ///
    /// # Errors
    /// When no part of the region is within the picture.
    pub fn mask(&self, [width, height]: [usize; 2], device: &Device) -> Result<RegionMask> {
        let mask = match (&self.image, self.region.rectangle()) {
            (Some(image), _) => {
                let filled = resize_to_fill(&image.0, [width, height])?;
                let values = filled.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
                RegionMask::new(values, [width, height], device)?
            }
            (None, Some(rectangle)) => RegionMask::rectangle(rectangle, [width, height], device)?,
            (None, None) => None,
        };
        mask.with_context(|| {
            format!(
                "nothing of the region `{}` is within a picture of {width}x{height}, so that its prompt would never count",
                self.region
            )
        })
    }
}

impl RegionImage {
    fn load(path: &Path, device: &Device) -> Result<Arc<Self>> {
        let grey = picture::load_mask(path, device)?.mean_keepdim(1)?;
        if grey.max_all()?.to_scalar::<f32>()? == 0.0 {
            bail!(
                "the region `{}` is black or transparent everywhere, so that its prompt would never count: make it white where the prompt should count",
                path.display()
            );
        }
        Ok(Arc::new(Self(grey)))
    }
}
