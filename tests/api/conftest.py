"""What tests tell besides passing (record_property("told", ...)) stands below their results, also
when they ran in another process."""


def pytest_terminal_summary(terminalreporter):
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "told":
                terminalreporter.write_line(value)
