//! Terms that compare the picture with an image, by what the layers of a CLIP make of both.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use candle_core::{Result as CandleResult, Tensor};
use clip::{ClipChoice, EMBEDDED_ACTIVATION, LayerKind, is_embedded};
use frozen::{Layer, add_to, resize_to_fill};
use phantasia_core::check::Checker;
use phantasia_core::{Schedule, StepContext, picture};

use crate::context::TermContext;
use crate::cutouts::{self, CutoutSampler};
use crate::features::{Features, Moments};
use crate::term::{Term, TermOutput};

/// What a term compares at one layer.
pub(crate) trait LayerTarget: Send + Sized + 'static {
    /// The term's key.
    const NAME: &'static str;
    /// The term draws its cutouts as those of towers from this number on. No recipe has so many towers, so that the cutouts of others are the
    /// same with and without the term.
    const TOWER: usize;
    /// Whether each cutout is compared with the same cutout of the image, instead of with the image as a whole.
    const SAME_VIEWS: bool;
    /// The smallest and the largest side of its cutouts as shares of the picture's shorter side, where the recipe gives neither.
    const SIDES: Option<(f64, f64)>;

    /// The numbers of the layers that are read where the recipe names none, of `count` layers.
    fn default_layers(kind: LayerKind, count: usize) -> Vec<usize>;

    /// The target that an image with these moments sets.
    fn new(moments: &Moments) -> CandleResult<Self>;

    /// The loss of activations `[cutouts, positions, channels]`, summed over the cutouts with these weights `[cutouts, 1, 1]`, and its gradient,
    /// both times `share`. `wanted` are the image's activations for the same cutouts, if the target uses [`Self::SAME_VIEWS`].
    fn loss(
        &self,
        found: &Tensor,
        wanted: Option<&Tensor>,
        weights: &Tensor,
        share: f64,
    ) -> CandleResult<(f64, Tensor)>;
}

/// Declares the configuration of a term with a [`LayerTarget`]. The path of the image alone stands for all of it.
macro_rules! compared_with_image {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident for $target:ty {
            $(#[$weight_doc:meta])* weight = $weight:expr,
            $(#[$layers_doc:meta])* layers,
            $(#[$cutouts_doc:meta])* cutouts,
        }
    ) => {
        #[derive(Clone, Debug, PartialEq, ::serde::Serialize, ::serde::Deserialize, ::schemars::JsonSchema)]
        #[serde(deny_unknown_fields, remote = "Self")]
        $(#[$attribute])*
        pub struct $name {
            /// The image. It is resized to fill the picture.
            #[schemars(extend("format" = ::phantasia_core::check::IMAGE_FORMAT))]
            pub image: ::std::path::PathBuf,
            $(#[$weight_doc])*
            #[serde(default = "default_weight")]
            #[schemars(range(min = 0))]
            pub weight: ::phantasia_core::Schedule,
            /// The CLIP whose layers are compared; all towers of one that has several.
            #[serde(default = "default_model")]
            #[schemars(extend("format" = ::phantasia_core::check::MODEL_FORMAT, "x-kind" = "clip"))]
            pub model: String,
            $(#[$layers_doc])*
            #[serde(default)]
            pub layers: Option<Vec<i64>>,
            /// The precision of the CLIP on a GPU, as in the entries of `clip`.
            #[serde(default, skip_serializing_if = "::clip::Precision::is_default")]
            pub precision: ::clip::Precision,
            /// The nonlinearity of the CLIP's transformers, likewise.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub activation: Option<::clip::ClipActivation>,
            $(#[$cutouts_doc])*
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub cutouts: Option<$crate::cutouts::Changes>,
        }

        fn default_weight() -> ::phantasia_core::Schedule {
            $weight.into()
        }

        fn default_model() -> String {
            ::clip::EMBEDDED.to_owned()
        }

        ::phantasia_core::or_text!(
            $name,
            "the path of an image, or a map with keys such as `image` and `weight`"
        );

        impl From<&str> for $name {
            fn from(image: &str) -> Self {
                Self {
                    image: image.into(),
                    weight: default_weight(),
                    model: default_model(),
                    layers: None,
                    precision: ::clip::Precision::default(),
                    activation: None,
                    cutouts: None,
                }
            }
        }

        impl $name {
            fn settings(&self) -> $crate::image_comparison::Settings<'_> {
                $crate::image_comparison::Settings {
                    image: &self.image,
                    weight: &self.weight,
                    model: &self.model,
                    choice: ::clip::ClipChoice {
                        precision: self.precision,
                        activation: self.activation,
                    },
                    layers: self.layers.as_deref(),
                    cutouts: self.cutouts.as_ref(),
                }
            }
        }

        impl $crate::TermConfig for $name {
            fn build(
                &self,
                context: &mut $crate::TermContext,
            ) -> ::anyhow::Result<Option<Box<dyn $crate::Term>>> {
                self.settings().build::<$target>(context)
            }

            fn check(
                &self,
                cutouts: &$crate::cutouts::Config,
                checker: &mut ::phantasia_core::check::Checker,
            ) {
                self.settings().check(cutouts, checker);
            }
        }
    };
}
pub(crate) use compared_with_image;

/// The settings of a term, by whatever configuration.
pub(crate) struct Settings<'a> {
    pub image: &'a Path,
    pub weight: &'a Schedule,
    pub model: &'a str,
    pub choice: ClipChoice,
    pub layers: Option<&'a [i64]>,
    pub cutouts: Option<&'a cutouts::Changes>,
}

impl Settings<'_> {
    /// Loads the CLIP and the image, and builds the term. `None` if it never counts.
    pub fn build<T: LayerTarget>(
        &self,
        context: &mut TermContext,
    ) -> Result<Option<Box<dyn Term>>> {
        let mut load = || {
            let clip = context.clip(self.model, self.choice)?;
            let features = Features::new(clip, self.layers, T::default_layers)?;
            anyhow::Ok((features, Reference::load(self.image, context)?))
        };
        let (features, reference) =
            load().with_context(|| format!("`terms.{}` cannot be used", T::NAME))?;
        if self.weight.constant() == Some(0.0) {
            return Ok(None);
        }
        let mut changes = self.cutouts.cloned().unwrap_or_default();
        if let Some((min, max)) = T::SIDES
            && changes.min.is_none()
            && changes.max.is_none()
        {
            changes.min = Some(Some(min.into()));
            changes.max = Some(Some(max.into()));
        }
        Ok(Some(Box::new(ImageComparison::<T> {
            features,
            reference,
            targets: vec![],
            weight: self.weight.clone(),
            sampler: context.sampler(Some(&changes)),
        })))
    }

    /// Reports what ranges cannot say.
    pub fn check(&self, cutouts: &cutouts::Config, checker: &mut Checker) {
        if self.choice.activation.is_some() && is_embedded(self.model) {
            checker.invalid("activation", EMBEDDED_ACTIVATION);
        }
        if self.layers.is_some_and(<[i64]>::is_empty) {
            checker.invalid("layers", "name at least one layer, or leave the key out");
        }
        cutouts.check_changes(self.cutouts, checker);
    }
}

struct ImageComparison<T> {
    features: Features,
    reference: Reference,
    /// By tower and layer, for the image at the size of the last picture.
    targets: Vec<Vec<T>>,
    weight: Schedule,
    sampler: CutoutSampler,
}

impl<T: LayerTarget> Term for ImageComparison<T> {
    fn name(&self) -> &str {
        T::NAME
    }

    fn evaluate(&mut self, image: &Tensor, at: StepContext) -> Result<TermOutput> {
        let weight = self.weight.at(at.t());
        if weight == 0.0 {
            return Ok(TermOutput::new(0.0, image.zeros_like()?));
        }
        let (reference, is_new) = self.reference.fit(image)?;
        let (features, sampler) = (&self.features, &self.sampler);
        if is_new || self.targets.is_empty() {
            self.targets = (features.moments(&reference, sampler, T::TOWER)?.iter())
                .map(|layers| layers.iter().map(T::new).collect())
                .collect::<CandleResult<_>>()?;
        }
        // with the same views, both pictures are in memory at the same time
        let pictures = if T::SAME_VIEWS { 2 } else { 1 };
        let memory = sampler.memory / pictures;
        let (mut loss, mut grad, mut count) = (0.0, None, 0);
        for (tower, targets) in self.targets.iter().enumerate() {
            let cutouts = features.draw(tower, image, sampler, T::TOWER, at)?;
            count += pictures * cutouts.len();
            let share = weight / (features.layers() * cutouts.len()) as f64;
            let compare = |views: &dyn Layer, weights: &Tensor, found: &[Tensor]| {
                let wanted = if T::SAME_VIEWS {
                    features.activations(tower, &views.eval(&reference)?)?
                } else {
                    vec![]
                };
                let mut grads = vec![];
                for (layer, (found, target)) in found.iter().zip(targets).enumerate() {
                    let (own, grad) = target.loss(found, wanted.get(layer), weights, share)?;
                    loss += own;
                    grads.push(grad);
                }
                Ok(grads)
            };
            let own = features.gradient(tower, image, &cutouts, memory, compare)?;
            add_to(&mut grad, own)?;
        }
        Ok(TermOutput {
            cutouts: count,
            ..TermOutput::new(loss, grad.context("no tower was read")?)
        })
    }
}

/// The image of a term, at the size of the picture.
struct Reference {
    image: Arc<Tensor>,
    /// At the size of the last picture.
    fitted: Option<Tensor>,
}

impl Reference {
    /// Reads an image.
    ///
    /// # Errors
    /// When it cannot be read.
    fn load(path: &Path, context: &mut TermContext) -> Result<Self> {
        let image = context.model(&path.display().to_string(), |context| {
            Ok(Arc::new(picture::load_tensor(path, &context.device)?))
        })?;
        Ok(Self {
            image,
            fitted: None,
        })
    }

    /// The image resized to fill a picture, and whether it was not already for the picture before.
    ///
    /// # Errors
    /// When the device fails.
    fn fit(&mut self, picture: &Tensor) -> Result<(Tensor, bool)> {
        let (_, _, height, width) = picture.dims4()?;
        if let Some(fitted) = &self.fitted
            && fitted.dims()[2..] == [height, width]
        {
            return Ok((fitted.clone(), false));
        }
        let fitted = resize_to_fill(&self.image, [width, height])?.to_dtype(picture.dtype())?;
        self.fitted = Some(fitted.clone());
        Ok((fitted, true))
    }
}
