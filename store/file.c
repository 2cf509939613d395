#include "store/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

int file_name(char *ret, const char *path, const char *suffix)
{
    int n = snprintf(ret, FILE_NAME_SIZE, "%s%s", path, suffix);

    return n < 0 || n >= FILE_NAME_SIZE ? ERR_TOO_BIG : 0;
}

static int sync_path(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    int rc = fd >= 0 && fsync(fd) == 0 ? 0 : ERR_IO;

    if (fd >= 0)
        close(fd);
    return rc;
}

int file_sync(const char *path)
{
    return sync_path(path, O_RDONLY);
}

/* The folder that holds path, in its place. */
static void cut_to_folder(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash)
        slash[slash == path] = '\0';
    else
        strcpy(path, ".");
}

int file_sync_name(const char *path)
{
    char folder[FILE_NAME_SIZE];
    int rc = file_name(folder, path, "");

    if (rc < 0)
        return rc;
    cut_to_folder(folder);
    return sync_path(folder, O_RDONLY | O_DIRECTORY);
}

void file_sync_folder_name(const char *path)
{
    char folder[FILE_NAME_SIZE], above[FILE_NAME_SIZE];

    if (file_name(folder, path, "") < 0)
        return;
    cut_to_folder(folder);
    if (file_name(above, folder, "/..") == 0)
        (void)sync_path(above, O_RDONLY | O_DIRECTORY);
}
