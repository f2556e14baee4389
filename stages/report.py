"""Put numbers, pictures and answers into one HTML page."""

from hw1.report.page import read_inputs, render
from hw1.report.provenance import write_records
from hw1.report.summary import results
from hw1.run.files import whole_file
from hw1.run.parameters.params import load
from hw1.run.processes.supervision import run_stage, stage_arguments
from hw1.run.tracking.tracking import Tracker


def main() -> None:
    args = stage_arguments(
        __doc__,
        evaluation="the folder of the evaluations",
        metrics="the folder of headline numbers",
        statistics="the folder of intervals and comparisons",
        history="the folder of history CSVs",
        figures="the folder of pictures",
        archive="the record of the archive",
        reading="the folder of what was read of each part",
        mini="the prepared mini",
        lock="DVC's lock file, to say where each result comes from",
        presets="the folder of presets",
        out="the page to write",
    )
    inputs = read_inputs(load(), args)
    page, records = render(inputs), args.out.with_name("records.js")
    with whole_file(records) as draft:
        write_records(inputs["provenance"], draft)
    with whole_file(args.out) as draft:
        draft.write_text(page, encoding="utf-8")
    with Tracker("report") as tracker:
        metrics = {f"{row.problem}/{row.measure}/{row.key}": row.final for row in results(inputs["metrics"])}
        tracker.log_results([args.out, records, *sorted(args.metrics.glob("*.json"))], metrics)


if __name__ == "__main__":
    run_stage(main)
