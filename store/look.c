/* look.c - could the store be opened? A look that changes nothing. */
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "store/db.h"
#include "store/filecheck.h"
#include "store/history.h"
#include "store/schema.h"

static int complain(struct history_report *report, int rc)
{
    const char *why = rc == ERR_DAMAGED
                          ? "the file is damaged or not a database: move it "
                            "away, or restore a backup"
                      : rc == ERR_NOT_FOUND ? "there is no such file"
                                            : "the file cannot be opened";

    if (!report->text[0])
        snprintf(report->text, sizeof report->text, "%s", why);
    return rc;
}

int history_look(const struct history_options *opt,
                 struct history_report *report)
{
    sqlite3 *conn = NULL;
    int rc;

    *report = (struct history_report){ .check = CHECK_NONE };
    if (access(opt->path, F_OK) < 0)
        return complain(report, ERR_NOT_FOUND);
    rc = db_open(&conn, opt->path, DB_READER, opt->busy_ms);
    if (rc < 0)
        return complain(report, rc);
    rc = schema_check(conn, report->text);
    if (rc == 0)
        report->check = filecheck(conn, opt->check_ms, report->text);
    if (report->check == CHECK_BAD)
        rc = ERR_DAMAGED;
    db_close(conn);
    return rc < 0 ? complain(report, rc) : 0;
}
