//! Sentences that labels are put into, and sets of labels that many measure by.

/// The templates of a name: `simple`, or `imagenet`, the 80 that OpenAI's CLIP was measured on ImageNet with (Radford et al. 2021,
/// appendix; the order is theirs).
pub fn named(name: &str) -> Option<Vec<String>> {
    match name {
        "simple" => Some(vec!["a photo of a {}".to_owned()]),
        "imagenet" => Some(
            IMAGENET
                .split(';')
                .map(|part| expand(part.trim()))
                .collect(),
        ),
        _ => None,
    }
}

/// `photo of`-like abbreviations keep the table short: `@` stands for "photo of", and every template ends in a full stop.
fn expand(part: &str) -> String {
    format!("{}.", part.replace('@', "photo of"))
}

const IMAGENET: &str = "a bad @ a {}; a @ many {}; a sculpture of a {}; a @ the hard to see {}; \
    a low resolution @ the {}; a rendering of a {}; graffiti of a {}; a bad @ the {}; a cropped @ the {}; \
    a tattoo of a {}; the embroidered {}; a @ a hard to see {}; a bright @ a {}; a @ a clean {}; \
    a @ a dirty {}; a dark @ the {}; a drawing of a {}; a @ my {}; the plastic {}; a @ the cool {}; \
    a close-up @ a {}; a black and white @ the {}; a painting of the {}; a painting of a {}; \
    a pixelated @ the {}; a sculpture of the {}; a bright @ the {}; a cropped @ a {}; a plastic {}; \
    a @ the dirty {}; a jpeg corrupted @ a {}; a blurry @ the {}; a @ the {}; a good @ the {}; \
    a rendering of the {}; a {} in a video game; a @ one {}; a doodle of a {}; a close-up @ the {}; \
    a @ a {}; the origami {}; the {} in a video game; a sketch of a {}; a doodle of the {}; a origami {}; \
    a low resolution @ a {}; the toy {}; a rendition of the {}; a @ the clean {}; a @ a large {}; \
    a rendition of a {}; a @ a nice {}; a @ a weird {}; a blurry @ a {}; a cartoon {}; art of a {}; \
    a sketch of the {}; a embroidered {}; a pixelated @ a {}; itap of the {}; a jpeg corrupted @ the {}; \
    a good @ a {}; a plushie {}; a @ the nice {}; a @ the small {}; a @ the weird {}; the cartoon {}; \
    art of the {}; a drawing of the {}; a @ the large {}; a black and white @ a {}; the plushie {}; \
    a dark @ a {}; itap of a {}; graffiti of the {}; a toy {}; itap of my {}; a @ a cool {}; \
    a @ a small {}; a tattoo of the {}";

/// The labels of a known data set, a line each in the syntax of [`super::classify::parse_labels`]: `imagenette` or `imagewoof`
/// (ten classes of ImageNet each, the folders named by WordNet's numbers).
pub fn labels(name: &str) -> Option<&'static str> {
    match name {
        "imagenette" => Some(
            "n01440764 = tench\nn02102040 = English Springer Spaniel\nn02979186 = cassette player\n\
             n03000684 = chainsaw\nn03028079 = church\nn03394916 = French horn\n\
             n03417042 = garbage truck\nn03425413 = gas pump\nn03445777 = golf ball\nn03888257 = parachute\n",
        ),
        "imagewoof" => Some(
            "n02086240 = Shih Tzu\nn02087394 = Rhodesian Ridgeback\nn02088364 = Beagle\n\
             n02089973 = English foxhound\nn02093754 = Border Terrier\nn02096294 = Australian Terrier\n\
             n02099601 = Golden Retriever\nn02105641 = Old English Sheepdog\nn02111889 = Samoyed\nn02115641 = dingo\n",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_templates_of_imagenet_are_eighty_different_sentences_for_one_label() {
        let templates = named("imagenet").expect("templates");
        assert_eq!(templates.len(), 80);
        assert_eq!(templates.iter().collect::<HashSet<_>>().len(), 80);
        assert!(
            templates
                .iter()
                .all(|t| t.matches("{}").count() == 1 && t.ends_with('.'))
        );
        assert_eq!(templates[0], "a bad photo of a {}.");
        assert_eq!(templates[79], "a tattoo of the {}.");
    }
}
