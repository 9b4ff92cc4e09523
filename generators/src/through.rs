//! A generator whose picture goes through a layer before it is judged, shown and saved.

use candle_core::{Result, Tensor, bail};
use frozen::{Layer, Pullback};

use crate::{Artifact, Generator, Progress, State};

/// A generator seen through a layer. The gradient comes back to it through the layer's pullback; its state is the generator's own.
pub(crate) struct Through<L> {
    generator: Box<dyn Generator>,
    layer: L,
    /// The generator's own picture, and the pullback to it.
    rendered: Option<(Tensor, Pullback)>,
}

impl<L: Layer> Through<L> {
    pub fn new(generator: Box<dyn Generator>, layer: L) -> Self {
        let rendered = None;
        Self {
            generator,
            layer,
            rendered,
        }
    }
}

impl<L: Layer> Generator for Through<L> {
    fn render(&mut self) -> Result<Tensor> {
        let own = self.generator.render()?;
        let (image, pullback) = self.layer.vjp(&own.detach())?;
        self.rendered = Some((own, pullback));
        Ok(image)
    }

    fn observe_loss(&mut self, loss: f64) -> Result<()> {
        self.generator.observe_loss(loss)
    }

    fn objective_changed(&mut self) {
        self.generator.objective_changed();
    }

    fn step(&mut self, _: Tensor, grad: &Tensor) -> Result<Progress> {
        let Some((own, pullback)) = self.rendered.take() else {
            bail!("a step needs a render before it");
        };
        self.generator.step(own, &pullback(grad)?)
    }

    fn picture(&mut self) -> Result<Tensor> {
        self.layer.eval(&self.generator.picture()?)
    }

    fn artifact(&self) -> Result<Option<Artifact>> {
        self.generator.artifact()
    }

    fn has_fixed_steps(&self) -> bool {
        self.generator.has_fixed_steps()
    }

    fn save(&self) -> Result<State> {
        self.generator.save()
    }

    fn load(&mut self, state: &State) -> Result<()> {
        self.rendered = None;
        self.generator.load(state)
    }
}
