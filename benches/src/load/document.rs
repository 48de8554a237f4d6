//! The figures of a comparison as a document for people, with a chart.

use std::fmt::Write as _;
use std::fs;

use super::beside::Beside;
use super::compare::{Compared, Figure, Spread};
use super::servers::Server;
use super::tls::CIPHER_SUITE;

/// The chart's file beside the document.
pub const CHART: &str = "benchmarks.svg";

/// What was run, and where.
pub struct About {
    /// The command that was given.
    pub command: String,
    /// What was compared, the first with the others.
    pub servers: Vec<Server>,
    /// How often each was measured.
    pub rounds: usize,
}

/// The processor's time for the same work.
const CPU: Figure = |row| row.cpu_per_thousand;

fn line_of(path: &str, key: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(key));
    line.and_then(|line| line.split(':').nth(1))
        .map(|value| value.trim().to_owned())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// The machine in a line.
fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{processors} processors ({}), {} of memory, Linux {}",
        line_of("/proc/cpuinfo", "model name"),
        line_of("/proc/meminfo", "MemTotal"),
        kernel.trim()
    )
}

fn with_spread(spread: Spread) -> String {
    format!("{:.2} [{:.2}..{:.2}]", spread.median, spread.least, spread.most)
}

/// The document.
pub fn markdown(all: &[Compared], beside: &Beside, about: &About) -> String {
    let mut text = format!(
        "# What berth and its peers answer, and at what cost\n\n\
         Written by `{}`, on {}. Every figure is the median of {} rounds, in which the servers took turns; ratios are those of berth to the other in the \
         same round, with the least and the most. Client and servers share the machine over loopback, so the processor's time that a server \
         took for the same work says most, and megabytes a second least.\n\n\
         ![berth's processor time as a multiple of each peer's]({CHART})\n\n## Servers\n\n| server | version |\n|---|---|\n",
        about.command,
        machine(),
        about.rounds
    );
    for server in &about.servers {
        let _infallible = writeln!(text, "| {} | {} |", server.name(), server.version());
    }
    text.push_str(
        "\nAll sync what is pushed before they acknowledge it, apart from nginx, which takes no pushes; the floor receives, hashes, writes and \
         syncs, and serves from memory; under TLS it is one that serves files with no HTTP or TLS library in between. \"GOGC\" or \"nopush=off\" (nginx without tcp_nopush) beside a name says that the server was \
         faster with it.\n\n## Figures\n",
    );
    for compared in all {
        table(&mut text, compared);
    }
    text.push_str(&beside.markdown());
    text.push_str("\n## Configurations\n");
    for server in &about.servers {
        if let Some(configuration) = server.configuration(false) {
            let _infallible = write!(text, "\n### {}\n\n```\n{configuration}```\n", server.name());
        }
    }
    if all.iter().any(|compared| compared.sealing.is_some()) {
        let _infallible = write!(
            text,
            "\n### Under TLS\n\nAll speak TLS 1.3 with {CIPHER_SUITE}, since the client offers no other, and show a certificate of the tool's (ECDSA, \
             P-256). What is configured beside the above:\n\n```\n"
        );
        for server in &about.servers {
            let both = [false, true].map(|is_tls| server.configuration(is_tls).unwrap_or_default());
            let known: Vec<_> = both[0].lines().collect();
            for line in both[1].lines().filter(|line| !known.contains(line)) {
                let _infallible = writeln!(text, "{:<16}{line}", server.name());
            }
        }
        text.push_str("```\n");
    }
    text
}

fn table(text: &mut String, compared: &Compared) {
    let (unit, cpu) = compared.cost();
    let first = compared.servers.iter().flatten().next();
    let offered = first.and_then(|row| row.measured.offered);
    let offered = offered.map_or_else(String::new, |rate| format!(", {rate:.0} turns a second for each"));
    let _infallible = write!(
        text,
        "\n### {}\n\n{}{offered}.\n\n\
         | server | req/s | MB/s | {unit} | p50 ms | p99 ms | anonymous MiB | berth's rate / its | berth's CPU / its | its p99 / berth's |{}\n\
         |---|---|---|---|---|---|---|---|---|---|{}\n",
        compared.scenario,
        compared.about,
        compared.syncs.as_ref().map_or("", |_| " syncs / image |"),
        compared.syncs.as_ref().map_or("", |_| "---|"),
    );
    let rate: Figure = |row| row.requests_per_second;
    for at in 0..compared.servers.len() {
        let figure = |figure| compared.figure(at, figure).median;
        let ratios = match at {
            0 => " | | ".to_owned(),
            _ => format!(
                "{} | {} | {:.2}",
                with_spread(compared.ratio(at, rate)),
                with_spread(compared.ratio(at, CPU)),
                1.0 / compared.ratio(at, |row| row.measured.p99).median
            ),
        };
        let syncs = compared.syncs.as_ref();
        let syncs = syncs.map_or_else(String::new, |syncs| format!(" {:.2} |", syncs[at]));
        let _infallible = writeln!(
            text,
            "| {} | {:.0} | {:.0} | {:.4} | {:.2} | {:.2} | {:.1} | {ratios} |{syncs}",
            compared.name(at),
            figure(rate),
            figure(|row| row.megabytes_per_second),
            figure(cpu),
            figure(|row| row.measured.p50),
            figure(|row| row.measured.p99),
            figure(|row| row.measured.anonymous_mib),
        );
    }
    if compared.syncs.is_some() {
        text.push_str(
            "\nSyncs are calls of fsync, fdatasync, sync_file_range, syncfs and sync, and writes to files that are opened with O_DSYNC; the kernel \
             counted them in one more look of a second, without stopping the server.\n",
        );
    }
    if let Some(sealing) = compared.sealing {
        let least = compared.floor_of_tls().map_or_else(String::new, |(floor, reached)| {
            format!(
                " The floor does nothing but copy a file's bytes out of the page cache, seal them in place and copy them into the socket, and takes \
                 {floor:.4}, which is **{reached:.2}** of what berth takes (to reach: {REACHED})."
            )
        });
        let _infallible = write!(
            text,
            "\nSealing a GiB in records of 16 KiB, by itself and in place, with the library that berth has, took {sealing:.4} CPU-s in this run.{least}\n",
        );
    }
}

/// What the floor takes under TLS is to be no less than this part of what berth takes.
const REACHED: f64 = 0.85;

/// Where things are in the chart, in pixels.
const LEFT: f64 = 190.0;
const WIDTH: f64 = 560.0;
const TOP: f64 = 56.0;
const ROW: f64 = 22.0;

/// The ends of the chart's axis.
const AXIS: [f64; 2] = [0.01, 10.0];

/// Colours that are told apart by people who see fewer, after Okabe and Ito.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

fn across(ratio: f64) -> f64 {
    let [least, most] = AXIS.map(f64::log10);
    LEFT + WIDTH * (ratio.clamp(AXIS[0], AXIS[1]).log10() - least) / (most - least)
}

/// A point for each scenario and peer: what berth's processors take for what the peer's take one second for.
pub fn chart(all: &[Compared]) -> String {
    let height = TOP + ROW * all.len() as f64 + 40.0;
    let bottom = height - 40.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"18\" font-size=\"14\">berth's processor time for the same work, as a multiple of the peer's</text>\n",
        LEFT + WIDTH + 30.0
    );
    for tick in [0.01, 0.1, 1.0, 10.0] {
        let (x, colour) = (across(tick), if tick == 1.0 { "#444" } else { "#ddd" });
        let _infallible = writeln!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"{colour}\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>",
            bottom + 16.0
        );
    }
    let mut names: Vec<String> = Vec::new();
    for (row, compared) in all.iter().enumerate() {
        let y = TOP + ROW * (row as f64 + 0.5);
        let _infallible = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            compared.scenario
        );
        for at in 1..compared.servers.len() {
            let name = compared.name(at).split(" GOGC").next().unwrap_or_default();
            let name = name.split(" nopush").next().unwrap_or_default();
            let number = names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            });
            let ratio = compared.ratio(at, CPU).median;
            if ratio.is_finite() {
                let _infallible = writeln!(
                    svg,
                    "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{}\"><title>{name}: {ratio:.3}</title></circle>",
                    across(ratio),
                    COLOURS[number % COLOURS.len()]
                );
            }
        }
    }
    for (number, name) in names.iter().enumerate() {
        let x = LEFT + 130.0 * number as f64;
        let _infallible = writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"36\" r=\"5\" fill=\"{}\"/><text x=\"{:.1}\" y=\"40\">{name}</text>",
            x + 5.0,
            COLOURS[number % COLOURS.len()],
            x + 16.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}
