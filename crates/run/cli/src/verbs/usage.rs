//! `system df`.

use serde_json::{Value, json};

use super::listing::{self, Width};
use super::{Arity, Place, Verb, at, images, items, number, text, volumes};
use crate::engine::Ask;
use crate::failure::{Failure, Outcome, exit};
use crate::flags::{Order, Parsed, STRING, SWITCH, flag, letter};
use crate::session::Session;
use crate::show::listing::{Format, Row};
use crate::show::time::{now, seconds_of};
use crate::show::units::{decimal_size, human_duration, short_id};
use crate::template::{Mode, Template};

pub(super) static DF: Verb = Verb {
    names: &["system df"],
    place: Place::Managed,
    usage: "[OPTIONS]",
    about: "Show what takes up the disk",
    arity: Arity::None,
    order: Order::Mixed,
    flags: &[(
        "Options",
        &[
            flag("format", STRING, "table, table TEMPLATE, json or TEMPLATE"),
            letter(
                "verbose",
                'v',
                SWITCH,
                "Show every image, container and volume",
            ),
        ],
    )],
    run: df,
};

/// A row of the summary of disk usage.
struct Usage {
    kind: &'static str,
    total: usize,
    active: usize,
    size: i64,
    reclaimable: i64,
}

impl Usage {
    fn row(&self) -> Row {
        let mut reclaimable = decimal_size(self.reclaimable as f64, 4);
        if self.size > 0 && self.kind != "Build Cache" {
            reclaimable.push_str(&format!(
                " ({}%)",
                self.reclaimable.saturating_mul(100) / self.size
            ));
        }
        Row::new(
            vec![
                ("Type", json!(self.kind)),
                ("TotalCount", json!(self.total.to_string())),
                ("Active", json!(self.active.to_string())),
                ("Size", json!(decimal_size(self.size as f64, 4))),
                ("Reclaimable", json!(reclaimable)),
            ],
            None,
        )
    }
}

/// What the engine's lists come to.
fn usages(answer: &Value) -> [Usage; 4] {
    let images = items(answer, "Images");
    let layers = number(answer, "LayersSize");
    let used: i64 = images
        .iter()
        .filter(|image| {
            number(image, "Containers") > 0
                && number(image, "Size") != -1
                && number(image, "SharedSize") != -1
        })
        .map(|image| number(image, "Size") - number(image, "SharedSize"))
        .sum();
    let containers = items(answer, "Containers");
    let is_active = |container: &&Value| {
        matches!(
            text(container, "State"),
            "running" | "paused" | "restarting"
        )
    };
    let sum = |values: &mut dyn Iterator<Item = &Value>, field: &str| -> i64 {
        values.map(|value| number(value, field)).sum()
    };
    let volumes = items(answer, "Volumes");
    let size_of = |volume: &&Value| number(volume, "UsageData.Size").max(0);
    let caches = items(answer, "BuildCache");
    let in_use = |cache: &&Value| at(cache, "InUse").as_bool().unwrap_or(false);
    let own: Vec<&Value> = caches
        .iter()
        .filter(|cache| !at(cache, "Shared").as_bool().unwrap_or(false))
        .collect();
    [
        Usage {
            kind: "Images",
            total: images.len(),
            active: images
                .iter()
                .filter(|image| number(image, "Containers") > 0)
                .count(),
            size: layers,
            reclaimable: layers - used,
        },
        Usage {
            kind: "Containers",
            total: containers.len(),
            active: containers.iter().filter(is_active).count(),
            size: sum(&mut containers.iter(), "SizeRw"),
            reclaimable: sum(
                &mut containers.iter().filter(|container| !is_active(container)),
                "SizeRw",
            ),
        },
        Usage {
            kind: "Local Volumes",
            total: volumes.len(),
            active: volumes
                .iter()
                .filter(|volume| number(volume, "UsageData.RefCount") > 0)
                .count(),
            size: volumes.iter().map(|volume| size_of(&volume)).sum(),
            reclaimable: volumes
                .iter()
                .filter(|volume| number(volume, "UsageData.RefCount") == 0)
                .map(|volume| size_of(&volume))
                .sum(),
        },
        Usage {
            kind: "Build Cache",
            total: caches.len(),
            active: caches.iter().filter(in_use).count(),
            size: own.iter().map(|cache| number(cache, "Size")).sum(),
            reclaimable: own
                .iter()
                .filter(|cache| !in_use(cache))
                .map(|cache| number(cache, "Size"))
                .sum(),
        },
    ]
}

fn df(session: &mut Session, parsed: &Parsed) -> Outcome {
    let given = parsed.text("format");
    let verbose = parsed.on("verbose");
    let answer = session.engine.ask(Ask::get("/system/df"))?;
    if verbose {
        return verbose_df(session, given, &answer);
    }
    let source = match given {
        "" | "table" => {
            "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"
        }
        "raw" => {
            "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\nreclaimable: {{.Reclaimable}}\n"
        }
        format => format,
    };
    let format = Format::parse(source, "*formatter.diskUsageImagesContext")?;
    let rows: Vec<Row> = usages(&answer).iter().map(Usage::row).collect();
    const HEADERS: &[(&str, &str)] = &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ];
    session.print(&format.write(HEADERS, &rows)?);
    Ok(exit::SUCCESS)
}

/// What docker's client calls the whole of what it shows.
const DISK_USAGE: &str = "*formatter.diskUsageContext";

fn verbose_df(session: &mut Session, given: &str, answer: &Value) -> Outcome {
    let is_table = matches!(given, "" | "table");
    let width = if is_table { Width::Short } else { Width::Whole };
    let image_rows: Vec<Row> = items(answer, "Images")
        .iter()
        .map(|image| {
            let (repository, tag) = images::first_name(image);
            images::row(image, &repository, &tag, "", width)
        })
        .collect();
    let container_rows: Vec<Row> = items(answer, "Containers")
        .iter()
        .map(|container| {
            // The root file system belongs to the image.
            let mut container = container.clone();
            container["SizeRootFs"] = json!(0);
            listing::row(&container, width)
        })
        .collect();
    let volume_rows: Vec<Row> = items(answer, "Volumes").iter().map(volumes::row).collect();
    let cache_rows: Vec<Row> = items(answer, "BuildCache").iter().map(cache_row).collect();
    if !is_table {
        let source = if given == "json" { "{{json .}}" } else { given };
        let template = Template::parse(source)
            .map_err(|error| Failure::new(format!("template parsing error: {error}")))?;
        let plain =
            |rows: Vec<Row>| -> Vec<Value> { rows.into_iter().map(Row::into_plain).collect() };
        let data = json!({
            "Images": plain(image_rows),
            "Containers": plain(container_rows),
            "Volumes": plain(volume_rows),
            "BuildCache": plain(cache_rows),
        });
        let text = template
            .execute_as(&data, Mode::Row(DISK_USAGE))
            .map_err(Failure::new)?;
        session.print(&text);
        return Ok(exit::SUCCESS);
    }
    let write = |source: &str, headers: &[(&str, &str)], rows: &[Row]| {
        Format::parse(source, DISK_USAGE)?.write(headers, rows)
    };
    let mut out = "Images space usage:\n\n".to_owned();
    out.push_str(&write(
        "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
        images::HEADERS,
        &image_rows,
    )?);
    out.push_str("\nContainers space usage:\n\n");
    out.push_str(&write(
        "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
        listing::HEADERS,
        &container_rows,
    )?);
    out.push_str("\nLocal Volumes space usage:\n\n");
    out.push_str(&write(
        "table {{.Name}}\t{{.Links}}\t{{.Size}}",
        volumes::HEADERS,
        &volume_rows,
    )?);
    let [.., cache] = usages(answer);
    out.push_str(&format!(
        "\nBuild cache usage: {}\n\n",
        decimal_size(cache.size as f64, 4)
    ));
    const CACHE_HEADERS: &[(&str, &str)] = &[
        ("ID", "CACHE ID"),
        ("CacheType", "CACHE TYPE"),
        ("Size", "SIZE"),
        ("CreatedSince", "CREATED"),
        ("LastUsedSince", "LAST USED"),
        ("UsageCount", "USAGE"),
        ("Shared", "SHARED"),
    ];
    out.push_str(&write(
        "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}",
        CACHE_HEADERS,
        &cache_rows,
    )?);
    session.print(&out);
    Ok(exit::SUCCESS)
}

fn cache_row(cache: &Value) -> Row {
    let since = |field: &str| {
        seconds_of(text(cache, field)).map_or_else(String::new, |seconds| {
            format!("{} ago", human_duration(now() - seconds))
        })
    };
    Row::new(
        vec![
            ("ID", json!(short_id(text(cache, "ID")))),
            ("CacheType", json!(text(cache, "Type"))),
            ("Size", json!(decimal_size(number(cache, "Size") as f64, 3))),
            ("CreatedSince", json!(since("CreatedAt"))),
            ("LastUsedSince", json!(since("LastUsedAt"))),
            ("UsageCount", json!(number(cache, "UsageCount").to_string())),
            (
                "Shared",
                json!(at(cache, "Shared").as_bool().unwrap_or(false).to_string()),
            ),
        ],
        None,
    )
}
