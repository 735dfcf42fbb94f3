//! `cooper images`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::ListFlags;
use crate::open::Session;
use crate::stdout;
use crate::ui::{amount, escape, table};
use cooper_engine::images::ImageSummary;

/// Lists the images that have names.
pub fn run(place: &Place, flags: &ListFlags) -> Result<Exit, Failure> {
    let session = Session::look(place, &place.root()?)?;
    let images = session.engine.images()?;
    if flags.json {
        stdout::json(&images)?;
    } else {
        stdout::line(&table(&images))?;
    }
    Ok(Exit::Done)
}

fn table(images: &[ImageSummary]) -> String {
    let rows = images.iter().map(|i| {
        [
            escape::line(&i.reference.familiar()),
            i.image_id.short().to_owned(),
            escape::line(i.created.as_deref().unwrap_or("-")),
            amount::bytes(i.size),
        ]
    });
    let head = std::iter::once(["NAME", "IMAGE ID", "CREATED", "SIZE"].map(str::to_owned));
    table::columns(&head.chain(rows).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_image::Digest;

    #[test]
    fn a_table() {
        let image = ImageSummary {
            reference: "docker.io/library/a:1".parse().unwrap(),
            manifest: None,
            image_id: Digest::sha256(b"x"),
            platforms: Vec::new(),
            created: Some("2024-01-01T00:00:00Z\u{1b}[2J".to_owned()),
            size: 1_500_000,
        };
        let short = image.image_id.short().to_owned();
        let text = table(&[image]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("NAME  IMAGE ID"));
        assert_eq!(lines[1], format!("a:1   {short}  2024-01-01T00:00:00Z\\x1b[2J  1.5 MB"));
    }

    #[test]
    fn an_empty_table_is_its_head() {
        assert_eq!(table(&[]), "NAME  IMAGE ID  CREATED  SIZE");
    }
}
