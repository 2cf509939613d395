/* The files of pages/, as they are and gzipped, and the front page in parts;
 * touchline-match.js is two of them, which the Makefile has put together. */
    .section .rodata

    .macro page name, file
    .global page_\name
    .global page_\name\()_end
page_\name:
    .incbin "gateways/http/pages/\file"
page_\name\()_end:
    .byte 0
    .global page_\name\()_gz
    .global page_\name\()_gz_end
page_\name\()_gz:
    .incbin "gateways/http/pages/\file\().gz"
page_\name\()_gz_end:
    .byte 0
    .endm

    .macro part name, file
    .global front_\name
    .global front_\name\()_end
front_\name:
    .incbin "gateways/http/pages/front.\file"
front_\name\()_end:
    .byte 0
    .endm

    part head, head
    part tail, tail
    part csp, csp

    page score, score.js
    page late, late.css
    page app, app.js
    page chat, chat.js
    page shared, shared.js
    page report, report.html
    page report_style, report.css
    page report_app, report.js
    page report_worker, report-worker.js
    page lineup, lineup.js
    page outbox, outbox.js
    page play, play.js
    page sheets, sheets.js
    page touchline, touchline.js
    page admin, admin.html
    page admin_style, admin.css
    page admin_app, admin.js
    page match, touchline-match.js
    page icon, icon.svg

    .section .note.GNU-stack, "", %progbits
