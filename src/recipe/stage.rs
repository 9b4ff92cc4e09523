//! The section `generator`: one generator, or a chain of them, each of which starts from the last one's picture.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use phantasia_core::schema;

use super::{GeneratorConfig, Prompt, Recipe, Terms, shorthand};

/// The generators of a render, one after the other; at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Stages(pub Vec<Stage>);

/// One generator of a render, and what differs from the recipe while it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stage {
    /// The generator.
    #[serde(flatten)]
    pub config: GeneratorConfig,
    /// Steps of this stage; the recipe's by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Width and height in pixels; the recipe's by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<[usize; 2]>,
    /// The prompts from this stage on; by default those of the stage before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<Vec<Prompt>>,
    /// The terms from this stage on; by default those of the stage before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
}

/// The keys of a stage that are not its generator's.
pub(super) const STAGE_KEYS: [&str; 4] = ["steps", "size", "prompts", "terms"];

impl Stage {
    /// Whether it is a generator without keys of the stage.
    pub(super) fn is_plain(&self) -> bool {
        let Self {
            config: _,
            steps,
            size,
            prompts,
            terms,
        } = self;
        steps.is_none() && size.is_none() && prompts.is_none() && terms.is_none()
    }
}

impl Default for Stages {
    fn default() -> Self {
        GeneratorConfig::default().into()
    }
}

impl<T: Into<GeneratorConfig>> From<T> for Stage {
    fn from(config: T) -> Self {
        Self {
            config: config.into(),
            ..Self::default()
        }
    }
}

impl<T: Into<GeneratorConfig>> From<T> for Stages {
    fn from(config: T) -> Self {
        Self(vec![config.into().into()])
    }
}

impl Recipe {
    /// The path of a stage: `generator.1`. A single generator that sets nothing of its own is not in a list.
    pub fn stage_path(&self, stage: usize) -> String {
        match self.generator.0.as_slice() {
            [only] if only.is_plain() => "generator".to_owned(),
            _ => format!("generator.{stage}"),
        }
    }

    /// How many steps a stage has.
    pub fn stage_steps(&self, stage: usize) -> usize {
        let own = self.generator.0.get(stage).and_then(|stage| stage.steps);
        own.unwrap_or(self.steps)
    }

    /// The prompts at the start of a stage, without edits: its own, those of the last stage before it that has some, or the recipe's.
    pub fn stage_prompts(&self, stage: usize) -> &[Prompt] {
        let own = (self.generator.0.iter().take(stage + 1).rev())
            .find_map(|stage| stage.prompts.as_deref());
        own.unwrap_or(&self.prompts)
    }

    /// Width and height in pixels of a stage's picture.
    pub fn stage_size(&self, stage: usize) -> [usize; 2] {
        let own = self.generator.0.get(stage).and_then(|stage| stage.size);
        own.unwrap_or(self.size)
    }

    /// Width and height of the stage with the most pixels, the last of several. It is the size of the run's video.
    pub fn largest_size(&self) -> [usize; 2] {
        (0..self.generator.0.len())
            .map(|stage| self.stage_size(stage))
            .max_by_key(|[width, height]| width.saturating_mul(*height))
            .unwrap_or(self.size)
    }
}

/// A single stage without keys of its own is written as its generator alone.
impl Serialize for Stages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [only] if only.is_plain() => only.serialize(serializer),
            stages => stages.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Stages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StagesVisitor;

        impl<'de> Visitor<'de> for StagesVisitor {
            type Value = Stages;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map with the key `kind`, a kind's name, or a list of these")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Stages, E> {
                GeneratorConfig::deserialize(StrDeserializer::new(word)).map(Stages::from)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Stages, A::Error> {
                let map = MapAccessDeserializer::new(map);
                GeneratorConfig::deserialize(map).map(Stages::from)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Stages, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Stages)
            }
        }

        deserializer.deserialize_any(StagesVisitor)
    }
}

/// A map whose first key is `kind` (the decoder moves it there), or a kind's bare name.
impl<'de> Deserialize<'de> for Stage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StageVisitor;

        impl<'de> Visitor<'de> for StageVisitor {
            type Value = Stage;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map with the key `kind`, or a kind's name")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Stage, E> {
                GeneratorConfig::deserialize(StrDeserializer::new(word)).map(Stage::from)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Stage, A::Error> {
                let mut stage = Stage::default();
                let rest = MapAccessDeserializer::new(OwnKeys {
                    map,
                    stage: &mut stage,
                });
                stage.config = GeneratorConfig::deserialize(rest)?;
                Ok(stage)
            }
        }

        deserializer.deserialize_any(StageVisitor)
    }
}

/// The entries of a stage's map without the stage's own keys, which are read into the stage.
struct OwnKeys<'s, A> {
    map: A,
    stage: &'s mut Stage,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for OwnKeys<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let mut seed = Some(seed);
        loop {
            match self.map.next_key_seed(StageOr { seed: &mut seed })? {
                None => return Ok(None),
                Some(Found::Generator(key)) => return Ok(Some(key)),
                Some(Found::Steps) => self.stage.steps = self.map.next_value()?,
                Some(Found::Size) => self.stage.size = Some(self.map.next_value::<Size>()?.0),
                Some(Found::Prompts) => {
                    self.stage.prompts = Some(self.map.next_value::<Prompts>()?.0);
                }
                Some(Found::Terms) => self.stage.terms = self.map.next_value()?,
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

enum Found<K> {
    Generator(K),
    Steps,
    Size,
    Prompts,
    Terms,
}

/// Reads a key: one of the stage's, or the generator's.
struct StageOr<'k, K> {
    seed: &'k mut Option<K>,
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for StageOr<'_, K> {
    type Value = Found<K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'de, K: DeserializeSeed<'de>> Visitor<'de> for StageOr<'_, K> {
    type Value = Found<K::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(match key {
            "steps" => Found::Steps,
            "size" => Found::Size,
            "prompts" => Found::Prompts,
            "terms" => Found::Terms,
            _ => {
                let seed = (self.seed.take()).ok_or_else(|| E::custom("a key was read twice"))?;
                Found::Generator(seed.deserialize(StrDeserializer::new(key))?)
            }
        })
    }
}

#[derive(Deserialize)]
struct Size(#[serde(deserialize_with = "shorthand::size")] [usize; 2]);

#[derive(Deserialize)]
struct Prompts(#[serde(deserialize_with = "shorthand::entries")] Vec<Prompt>);

impl JsonSchema for Stages {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Stages".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<GeneratorConfig>();
        let mut own = [
            (
                "steps",
                "Steps of this stage; the recipe's by default.",
                json_schema!({ "type": "integer", "minimum": 0 }),
            ),
            (
                "size",
                "Width and height in pixels; the recipe's by default.",
                schema::size(generator),
            ),
            (
                "prompts",
                "The prompts from this stage on; by default those of the stage before.",
                schema::entries::<Prompt>(generator),
            ),
            (
                "terms",
                "The terms from this stage on; by default those of the stage before.",
                generator.subschema_for::<Terms>(),
            ),
        ];
        for (_, about, schema) in &mut own {
            schema.insert("description".to_owned(), json!(about));
        }
        // a generator with the keys of its stage
        let mut stage = GeneratorConfig::json_schema(generator);
        let kinds = stage.get_mut("oneOf").and_then(Value::as_array_mut);
        for kind in kinds.into_iter().flatten() {
            if let Some(properties) = kind.get_mut("properties").and_then(Value::as_object_mut) {
                properties.extend(
                    own.iter()
                        .map(|(key, _, own)| ((*key).to_owned(), json!(own))),
                );
            }
        }
        json_schema!({
            "description": "One generator, or a list of them, each of which starts from the last one's picture.",
            "anyOf": [one, { "type": "array", "minItems": 1, "items": stage }],
        })
    }
}
