//! Declaring configurations.

/// Declares the configuration of a part: a struct with public fields, whose docs, types, ranges and defaults stand on the fields.
///
/// It can be written to and read from recipes, where unknown keys are refused and missing ones take their defaults, and has a JSON Schema.
/// The crate that uses it depends on `serde` and `schemars`.
///
/// ```
/// use phantasia_core::Schedule;
///
/// phantasia_core::config! {
///     /// Mirrored left to right with probability `p`.
///     #[schemars(rename = "Flip")]
///     pub struct Config {
///         /// Probability.
///         #[schemars(range(min = 0, max = 1))]
///         pub p: f64 = 0.5,
///         /// How much it counts.
///         pub weight: Schedule = 1.0.into(),
///     }
/// }
///
/// let config: Config = serde_json::from_str(r#"{ "weight": "1 - t" }"#)?;
/// assert_eq!((config.p, config.weight.at(0.75)), (0.5, 0.25));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[macro_export]
macro_rules! config {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident {
            $($(#[$about:meta])* pub $key:ident: $type:ty = $default:expr,)*
        }
    ) => {
        #[derive(Clone, Debug, PartialEq, ::serde::Serialize, ::serde::Deserialize, ::schemars::JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        $(#[$attribute])*
        pub struct $name {
            $($(#[$about])* pub $key: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }
    };
}
